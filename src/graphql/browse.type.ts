import { Field, Int, ObjectType } from 'type-graphql';
import type { EntryKind } from '../core/discovery/browse.js';
import { FolderEntryKind } from './enums.js';
import { PageInfo } from './page.type.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({ description: 'A file or a folder in a folder of the server.' })
export class FolderEntry {
  @Field(() => String, { description: 'Its name, such as `db.sqlite3`.' })
  name!: string;

  @Field(() => String, { description: 'Its absolute path, such as `/srv/shop/db.sqlite3`.' })
  path!: string;

  @Field(() => FolderEntryKind, { description: 'What it is.' })
  kind!: EntryKind;

  @Field(() => ByteSize, { nullable: true, description: 'Its bytes; null for a folder.' })
  size!: number | null;

  @Field(() => DateTime, { nullable: true, description: 'When it was last changed; null if unknown.' })
  modifiedAt!: Date | null;
}

@ObjectType({
  description:
    'A Django project that was found in a folder or above it. Its settings are read as text and never executed.',
})
export class DjangoProject {
  @Field(() => String, { description: 'The folder of `manage.py`.' })
  path!: string;

  @Field(() => [String], { description: 'SQLite databases of its settings that exist.' })
  databases!: string[];

  @Field(() => [String], {
    description:
      'Existing folders that `MEDIA_ROOT` names, or usual ones such as `media` where the settings name none.',
  })
  mediaFolders!: string[];
}

@ObjectType({ description: 'A page of a folder of the server.' })
export class FolderListing {
  @Field(() => String, {
    nullable: true,
    description: 'The folder, absolute, links resolved; null for the list of the folders in ALLOWED_PATHS.',
  })
  path!: string | null;

  @Field(() => String, { nullable: true, description: 'The folder above; null where it may not be listed.' })
  parent!: string | null;

  @Field(() => [FolderEntry], { description: 'Folders first, then files, each by name.' })
  entries!: FolderEntry[];

  @Field(() => Int, { description: 'How many entries the folder has, at most 10,000.' })
  totalCount!: number;

  @Field(() => Boolean, { description: 'Whether there are more entries than are listed.' })
  truncated!: boolean;

  @Field(() => PageInfo, { description: 'Where the page lies in the folder.' })
  pageInfo!: PageInfo;

  @Field(() => DjangoProject, { nullable: true, description: 'The Django project that the folder belongs to, if any.' })
  project!: DjangoProject | null;
}
