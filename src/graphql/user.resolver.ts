import { Arg, Ctx, ID, Mutation, Query, Resolver } from 'type-graphql';
import type { UserRow } from '../models/index.js';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { userId } from './ids.js';
import { Session, User } from './session.type.js';

@Resolver()
export class UserResolver {
  @Admin()
  @Query(() => [User], {
    description: withExample(
      'Everyone who can log in here, the oldest first. Users of the host application are not listed.',
      '{ users { id email role } }',
    ),
  })
  async users(@Ctx() { services }: GraphqlContext): Promise<User[]> {
    return (await services.auth.users.list()).map(toUser);
  }

  @Admin()
  @Mutation(() => Session, {
    description: withExample(
      'Changes your own password. Every token given out before stops working; the answer holds a new one.',
      'mutation { changePassword(currentPassword: "…", newPassword: "a long new password") { token expiresAt } }',
    ),
  })
  async changePassword(
    @Ctx() { services, admin, address }: GraphqlContext,
    @Arg('currentPassword', () => String, { description: 'The present password. Failed attempts are limited.' })
    currentPassword: string,
    @Arg('newPassword', () => String, { description: '12 to 1000 characters.' }) newPassword: string,
  ): Promise<Session> {
    return services.auth.changeOwnPassword(await admin(), currentPassword, newPassword, address);
  }

  @Admin()
  @Mutation(() => User, {
    description: withExample(
      "Removes a user. The user's tokens and download links stop working at once. The last admin cannot be removed.",
      'mutation { removeUser(id: "7") { id email } }',
    ),
  })
  async removeUser(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The user, from `users`.' }) id: string,
  ): Promise<User> {
    return toUser(await services.auth.removeUser(userId(id), (await admin()).email));
  }
}

const toUser = ({ id, email, role }: UserRow): User => ({ id: String(id), email, role });
