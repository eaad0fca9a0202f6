// Prints what a program did, for its test: one JSON object a line.

export const [address, key, run] = process.argv.slice(2);

export async function call(name, make) {
  try {
    const returned = (await make()) ?? null;
    console.log(JSON.stringify({ call: name, returned }));
    return returned;
  } catch (error) {
    console.log(JSON.stringify({ call: name, raised: error?.name, text: String(error?.message).slice(0, 2000) }));
    return null;
  }
}
