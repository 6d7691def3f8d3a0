import { Badge, createTheme, type CSSVariablesResolver, Notification } from '@mantine/core';

export const theme = createTheme({
  primaryColor: 'cyan',
  primaryShade: 9,
  autoContrast: true,
  defaultRadius: 'md',
  cursorType: 'pointer',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans Devanagari", sans-serif',
  components: {
    Badge: Badge.extend({ defaultProps: { tt: 'none' } }),
    Notification: Notification.extend({ defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } }),
  },
});

/** Where the library's own colours are too faint (WCAG AA, 4.5 to 1). */
export const contrast: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-dimmed': 'var(--mantine-color-gray-7)',
    '--mantine-color-placeholder': 'var(--mantine-color-gray-7)',
    '--mantine-color-error': 'var(--mantine-color-red-9)',
    '--mantine-color-teal-light-color': '#05583f',
    '--mantine-color-red-light-color': '#9a1b1b',
    '--mantine-color-yellow-light-color': '#6d3a00',
    '--mantine-color-orange-light-color': '#832f00',
    '--mantine-color-cyan-filled-hover': '#095c6b',
    '--mantine-color-cyan-light-hover': '#bef3f9',
  },
  dark: {
    '--mantine-color-dimmed': 'var(--mantine-color-dark-1)',
    '--mantine-color-placeholder': 'var(--mantine-color-dark-1)',
    '--mantine-color-error': 'var(--mantine-color-red-4)',
    '--mantine-color-cyan-filled-hover': '#095c6b',
  },
});
