import { IdentityService } from '../../proto/gen/flyteidl2/auth/identity_pb.js';
import { enrichedIdentity, type IdentifyCaller } from '../caller.ts';
import { unauthenticated } from '../errors.ts';
import { implement, type ServiceImplementation } from '../transport/handler.ts';

/** Who the caller is (services.md §6.3). */
export function identityService(identifyCaller: IdentifyCaller): ServiceImplementation {
  return implement(IdentityService, {
    async userInfo(_request, context) {
      const principal = enrichedIdentity(identifyCaller(context))?.principal;
      if (principal?.case !== 'user') throw unauthenticated('no user is known for this call: log in');
      const { id, spec } = principal.value;
      const givenName = spec?.firstName ?? '';
      const familyName = spec?.lastName ?? '';
      return {
        subject: id?.subject ?? '',
        name: `${givenName} ${familyName}`.trim(),
        preferredUsername: spec?.userHandle ?? '',
        givenName,
        familyName,
        email: spec?.email ?? '',
        picture: spec?.photoUrl ?? '',
      };
    },
  });
}
