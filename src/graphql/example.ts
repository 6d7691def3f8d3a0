/**
 * A description with an example, as Sandbox shows it. A test sends every example to a server, so that none goes stale.
 * @param example an operation, or a command that sends one, on one line
 */
export function withExample(description: string, example: string): string {
  return `${description}\n\nExample: \`${example}\``;
}
