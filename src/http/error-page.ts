import { escapeHtml } from '../core/text/html.js';

/** An error for a person who came with a browser, in place of JSON. No script, no style: the policy allows neither. */
export function errorPage(status: number, message: string, hint: string, basePath: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>db-manager: ${status}</title></head>
<body>
<h1>${status === 404 ? 'Nothing here' : 'This did not work'}</h1>
<p>${escapeHtml(message)}</p>
<p>${escapeHtml(hint)}</p>
<p><a href="${basePath}/">Open the admin page</a></p>
</body>
</html>
`;
}
