import { Arg, Ctx, Mutation, Query, Resolver } from 'type-graphql';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { Confirmation, Session, User } from './session.type.js';

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

  @Admin()
  @Mutation(() => Confirmation, {
    description: withExample(
      'Types your own password again. With `CONFIRM_WITH_PASSWORD` the server asks for it before it deletes or restores: such a mutation answers CONFIRMATION_REQUIRED without the header `X-Confirmation`. Failed attempts are limited.',
      'mutation { confirmPassword(password: "…") { token expiresAt } }',
    ),
  })
  async confirmPassword(
    @Ctx() { services, admin, address }: GraphqlContext,
    @Arg('password', () => String, { description: 'The password that you signed in with.' }) password: string,
  ): Promise<Confirmation> {
    return services.auth.confirmPassword(await admin(), password, address);
  }
}
