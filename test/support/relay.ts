/** `bun relay.ts HOST PORT TARGET MS`: hands on what it gets to port TARGET of the same host, so much later. */
import net from 'node:net';

const [host = '', port = '', target = '', delay = '0'] = process.argv.slice(2);

function later(from: net.Socket, to: net.Socket): void {
  from.on('data', (chunk) => setTimeout(() => to.write(chunk), Number(delay)));
  from.on('close', () => setTimeout(() => to.destroy(), Number(delay)));
  from.on('error', () => {}); // its close tells
}

net
  .createServer((socket) => {
    const onward = net.connect(Number(target), host);
    later(socket, onward);
    later(onward, socket);
  })
  .listen(Number(port), host, () => console.log('ready'));
