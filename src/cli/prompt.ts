/** One line from the terminal without showing what is typed. @throws the signal's reason */
export async function readHidden(prompt: string, out: NodeJS.WriteStream, stop: AbortSignal): Promise<string> {
  out.write(prompt);
  process.stdin.setRawMode(true).setEncoding('utf8').resume();
  try {
    let typed = '';
    for await (const chunk of process.stdin.iterator({ destroyOnReturn: false }) as AsyncIterable<string>) {
      for (const character of chunk) {
        if (character === '\r' || character === '\n') return typed;
        if (character === '\u0003') process.kill(process.pid, 'SIGINT');
        else if (character === '\u007F' || character === '\b') typed = [...typed].slice(0, -1).join('');
        else typed += character;
        if (character === '\u0003') await new Promise((wake) => setImmediate(wake));
        stop.throwIfAborted();
      }
    }
    return typed;
  } finally {
    process.stdin.setRawMode(false).pause();
    out.write('\n');
  }
}
