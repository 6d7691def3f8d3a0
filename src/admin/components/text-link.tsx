import { Anchor, type AnchorProps } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link } from 'wouter';

/** A link to another page, in the running text. */
export function TextLink({ href, children, ...anchor }: { href: string; children: ReactNode } & AnchorProps) {
  return (
    <Anchor component={Link} href={href} inherit underline="always" className="breakable" {...anchor}>
      {children}
    </Anchor>
  );
}
