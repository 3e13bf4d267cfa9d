// Sums a column of a table by the names in its first one.
//
// The columns are parted by tabs, and counted from 1. A line is the chunk's number, a name, and its sum.

const column = process.argv.length > 1 ? <i32>parseInt(process.argv[1]) : 0;
const sums = new Map<string, i64>();
const lines = input().split("\n");

for (let i = 0; i < lines.length; i++) {
  // What follows the last end of line is no line.
  if (i == lines.length - 1 && lines[i] == "") break;
  const fields = lines[i].split("\t");
  if (column < 1 || column > fields.length || !isNumber(fields[column - 1])) {
    process.stderr.write(`line ${i + 1} has no number in column ${column}\n`);
    process.exit(1);
  }
  const before = sums.has(fields[0]) ? sums.get(fields[0]) : 0;
  sums.set(fields[0], before + I64.parseInt(fields[column - 1]));
}

const names = sums.keys().sort();
for (let i = 0; i < names.length; i++) {
  process.stdout.write(`${process.env.get("ESSAIM_CHUNK")}\t${names[i]}\t${sums.get(names[i])}\n`);
}

// All of standard input.
function input(): string {
  let text = new ArrayBuffer(1 << 16);
  let length = 0;
  let read = process.stdin.read(text);
  while (read > 0) {
    length += read;
    if (length == text.byteLength) {
      const larger = new Uint8Array(2 * length);
      larger.set(Uint8Array.wrap(text));
      text = larger.buffer;
    }
    read = process.stdin.read(text, length);
  }
  return String.UTF8.decode(text.slice(0, length));
}

function isNumber(text: string): bool {
  const digits = text.startsWith("-") ? 1 : 0;
  for (let i = digits; i < text.length; i++) {
    const digit = text.charCodeAt(i);
    if (digit < 0x30 || digit > 0x39) return false;
  }
  return text.length > digits;
}
