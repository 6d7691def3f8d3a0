import type { Notice } from '../core/ports.js';
import { escapeHtml } from '../core/text/html.js';

/** A notice with the address of the page about it; null where none is known. */
export type Linked = Notice & { link: string | null };

/** Below the title: what happened, what to do next, and where. */
export function plainText({ message, hint, link }: Linked): string {
  return [message, hint === '' ? null : `What to do: ${hint}`, link].filter((line) => line !== null).join('\n\n');
}

/** Shortened to what a service takes, with a sign that something is left out. */
export const upTo = (length: number, text: string): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`;

const COLOURS: Record<Notice['level'], string> = { PROBLEM: '#c92a2a', GOOD: '#2b8a3e', INFO: '#1971c2' };

/** The colour of a level, as six hexadecimal digits behind #. */
export const colourOf = ({ level }: Pick<Notice, 'level'>): string => COLOURS[level];

/** The mail as HTML. Styles stand at the elements: programs for mail know no others. */
export function htmlText(notice: Linked): string {
  const paragraph = (text: string) => `<p>${escapeHtml(text).replaceAll('\n', '<br>')}</p>`;
  const { title, message, hint, link, at } = notice;
  return [
    `<div style="font-family:sans-serif;max-width:40em">`,
    `<h2 style="color:${colourOf(notice)}">${escapeHtml(title)}</h2>`,
    paragraph(message),
    hint === '' ? '' : `<p><b>What to do:</b> ${escapeHtml(hint)}</p>`,
    link === null ? '' : `<p><a href="${escapeHtml(link)}">Open in db-manager</a></p>`,
    `<p style="color:#666">${escapeHtml(at)}</p>`,
    `</div>`,
  ].join('\n');
}
