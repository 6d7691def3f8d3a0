import { Field, ObjectType } from 'type-graphql';

@ObjectType({ description: 'A fact with its name, such as `page_size` and `4096`.' })
export class Property {
  @Field(() => String, { description: 'Name of the fact.' })
  name!: string;

  @Field(() => String, { description: 'Its value; what is not a text is written as JSON.' })
  value!: string;
}

export function toProperties(facts: Record<string, unknown>): Property[] {
  return Object.entries(facts).map(([name, value]) => ({
    name,
    value: typeof value === 'string' ? value : (JSON.stringify(value) ?? ''),
  }));
}
