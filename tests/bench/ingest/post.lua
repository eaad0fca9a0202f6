-- One vote for each request, ids of the shape that chat completions have.
local prefix, count = 0, 0
local body = '{"data":{"message":"Clear, short and right.","rating":5,"helpful":true,' ..
  '"user_id":"user-20417","tags":["support","first-answer","resolved"],"channel":"web"}}'
local headers

function init(args)
  math.randomseed(os.time())
  prefix = math.random(0, 2^31)
  headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. args[1]}
end

function request()
  count = count + 1
  return wrk.format("POST", string.format("/feedback/chatcmpl-%08x%08x", prefix, count), headers, body)
end

function done(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.timeout + summary.errors.connect +
    summary.errors.read + summary.errors.write
  io.write(string.format("RESULT %f %f %f %d\n", summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
