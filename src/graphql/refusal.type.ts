import { Field, ObjectType } from 'type-graphql';
import type { AppError } from '../errors.js';

@ObjectType({ description: 'Why something is refused or does not work, as an answer and not as an error.' })
export class Refusal {
  @Field(() => String, { description: 'A code of the error catalogue, such as `STORAGE_FULL`.' })
  code!: string;

  @Field(() => String, { description: 'What is wrong.' })
  message!: string;

  @Field(() => String, { description: 'How to fix it.' })
  hint!: string;

  @Field(() => String, { nullable: true, description: 'The input field that it is about, if it is about one.' })
  field?: string | undefined;
}

/** As plain values: an Error in an answer counts as thrown. */
export function toRefusal(error: AppError): Refusal;
export function toRefusal(error: AppError | null): Refusal | null;
export function toRefusal(error: AppError | null): Refusal | null {
  if (error === null) return null;
  const { code, message, hint, field } = error;
  return { code, message, hint, field };
}
