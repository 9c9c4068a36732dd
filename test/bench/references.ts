/** The bare servers that stand beside ours in a benchmark: `bun references.ts echo PATH | http PORT BYTES`. */
import net from 'node:net';

const [what, where = '', size = '0'] = process.argv.slice(2);

if (what === 'echo') {
  // A JSON-lines echo: parses each line, and answers with what it was asked.
  net
    .createServer((socket) => {
      let rest = '';
      socket.on('data', (chunk) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) socket.write(`${JSON.stringify(JSON.parse(line))}\n`);
      });
    })
    .listen(where, () => console.log('ready'));
} else {
  const body = JSON.stringify({ filler: 'x'.repeat(Math.max(0, Number(size) - 13)) });
  Bun.serve({
    hostname: '127.0.0.1',
    port: Number(where),
    development: false,
    fetch: () => new Response(body, { headers: { 'content-type': 'application/json' } }),
  });
  console.log('ready');
}
