import { Arg, Ctx, ID, Mutation, Query, Resolver } from 'type-graphql';
import type { ApiTokenRow } from '../models/index.js';
import { Admin } from './admin.directive.js';
import { ApiToken, ApiTokenInput, NewApiToken } from './api-token.type.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { apiTokenId } from './ids.js';

@Resolver()
export class ApiTokenResolver {
  @Admin()
  @Query(() => [ApiToken], {
    description: withExample(
      'All API tokens, the newest first.',
      '{ apiTokens { id name scopes expiresAt lastUsedAt } }',
    ),
  })
  async apiTokens(@Ctx() { services }: GraphqlContext): Promise<ApiToken[]> {
    return (await services.auth.listApiTokens()).map(toApiToken);
  }

  @Admin()
  @Mutation(() => NewApiToken, {
    description: withExample(
      'Makes a token that a program uses in place of a login. It is shown once. Only people make tokens: an API token cannot.',
      'mutation { createApiToken(input: {name: "Deployment", scopes: [BACKUP], expiresAt: "2027-06-30T00:00:00Z"}) { token apiToken { id } } }',
    ),
  })
  async createApiToken(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('input', () => ApiTokenInput, { description: 'What it may be used for, and until when.' })
    { name, scopes, expiresAt }: ApiTokenInput,
  ): Promise<NewApiToken> {
    const input = { name, scopes, expiresAt: expiresAt ?? null };
    const { token, row } = await services.auth.createApiToken(input, await admin());
    return { token, apiToken: toApiToken(row) };
  }

  @Admin()
  @Mutation(() => ApiToken, {
    description: withExample(
      'Revokes an API token: it stops working at once.',
      'mutation { revokeApiToken(id: "7") { id name } }',
    ),
  })
  async revokeApiToken(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The token, from `apiTokens`.' }) id: string,
  ): Promise<ApiToken> {
    return toApiToken(await services.auth.revokeApiToken(apiTokenId(id), (await admin()).email));
  }
}

const toApiToken = ({ id, name, scopes, createdBy, createdAt, expiresAt, lastUsedAt }: ApiTokenRow): ApiToken => ({
  id: String(id),
  ...{ name, scopes, createdBy, createdAt, expiresAt, lastUsedAt: lastUsedAt ?? null },
});
