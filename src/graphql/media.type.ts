import { MaxLength } from 'class-validator';
import { ArgsType, Field, ObjectType } from 'type-graphql';
import { IDENTITY } from './identity.js';
import { connectionOf, PageArgs } from './page.type.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({ description: 'A media file in the archive of a backup.' })
export class MediaFile {
  @Field(() => String, {
    description: 'Its path in the archive, such as `media/uploads/a.jpg`: as `restoreBackup` takes it.',
  })
  path!: string;

  @Field(() => ByteSize, { description: 'Bytes before compression.' })
  size!: number;

  @Field(() => DateTime, {
    nullable: true,
    description: 'When it was last changed, to two seconds; null where the archive does not say.',
  })
  modifiedAt!: Date | null;
}

export const MediaFileConnection = connectionOf('MediaFile', 'media files', MediaFile);

@ArgsType()
export class MediaArgs extends PageArgs {
  @MaxLength(200)
  @Field(() => String, { nullable: true, description: 'Part of the path, in any case, such as `uploads/2025`.' })
  search?: string | null;

  @MaxLength(16_384)
  @Field(() => String, IDENTITY)
  identity?: string | null;
}
