import { Arg, Ctx, Mutation, Query, Resolver } from 'type-graphql';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { Session, User } from './session.type.js';

@Resolver()
export class SessionResolver {
  @Admin()
  @Query(() => User, { description: withExample('The user that the token belongs to.', '{ me { email role } }') })
  async me(@Ctx() { admin }: GraphqlContext): Promise<User> {
    return admin();
  }

  @Mutation(() => Session, {
    description: withExample(
      'Logs in with e-mail and password and returns a token. The only operation without a token. Failed attempts are limited.',
      'mutation { login(email: "admin@example.org", password: "…") { token expiresAt } }',
    ),
  })
  async login(
    @Ctx() { services, address }: GraphqlContext,
    @Arg('email', () => String, { description: 'Such as `admin@example.org`, in any case.' }) email: string,
    @Arg('password', () => String, { description: 'The password.' }) password: string,
  ): Promise<Session> {
    return services.auth.login(email, password, address);
  }
}
