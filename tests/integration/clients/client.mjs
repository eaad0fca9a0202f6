// Sends feedback with Node's fetch, which keeps its connections; prints the statuses.
const [url, key, name, many] = process.argv.slice(2);

async function send(number) {
  const answer = await fetch(`${url}/feedback/${encodeURIComponent(`${name}/${number}`)}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    body: JSON.stringify({ data: { rating: number, padding: "x".repeat(number * 4096) } }),
  });
  console.log(answer.status, (await answer.json()).status);
}

async function stream(number) {
  // A body whose length is not known travels in chunks.
  const body = new ReadableStream({
    start(controller) {
      for (const part of ['{"data":', `{"rating":${number}}`, "}"]) controller.enqueue(new TextEncoder().encode(part));
      controller.close();
    },
  });
  const answer = await fetch(`${url}/feedback/${encodeURIComponent(`${name}/${number}`)}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    body,
    duplex: "half",
  });
  console.log(answer.status, (await answer.json()).status);
}

const half = many / 2;
for (let number = 0; number < half; number++) await send(number);
await Promise.all(Array.from({ length: half - 1 }, (_, number) => send(half + number)));
await stream(many - 1);
