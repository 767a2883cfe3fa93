/**
 * An approval of one action on one resource by one person. Only an approval flow mints them, for the same reason as
 * session facts: an object literal that says "approved" is refused. An approval is bound to organisation, action and
 * resource id, so that it cannot be carried over to another entry.
 */

/** What an approval says. */
export interface ApprovalInit {
  /** Id of the approver. */
  readonly by: string;
  /** Roles of the approver when approving. */
  readonly roles: readonly string[];
  /** Organisation of approver and resource. */
  readonly org: string;
  /** The action approved, `resource.action`. */
  readonly action: string;
  /** Id of the resource approved. */
  readonly resourceId: string;
}

/** An approval, minted by an approval flow. */
export interface Approval extends ApprovalInit {
  /** Brand: no object literal is assignable. */
  readonly '~ringfence.approval': 'Approval';
}

/** The only implementation of `Approval`; internal to the package. */
export class MintedApproval implements Approval {
  readonly #init: ApprovalInit;

  constructor({ by, roles, org, action, resourceId }: ApprovalInit) {
    for (const [name, value] of Object.entries({ by, org, action, resourceId })) {
      if (typeof value !== 'string' || value === '')
        throw new TypeError(`${name} of an approval is not a string`);
    }
    if (!Array.isArray(roles) || !roles.every((role) => typeof role === 'string' && role !== '')) {
      throw new TypeError('roles of an approval are not strings');
    }
    this.#init = Object.freeze({ by, roles: Object.freeze([...roles]), org, action, resourceId });
  }

  /** Tells a minted object from a look-alike. */
  static isMinted(value: object): value is MintedApproval {
    return #init in value;
  }

  get by(): string {
    return this.#init.by;
  }

  get roles(): readonly string[] {
    return this.#init.roles;
  }

  get org(): string {
    return this.#init.org;
  }

  get action(): string {
    return this.#init.action;
  }

  get resourceId(): string {
    return this.#init.resourceId;
  }

  get '~ringfence.approval'(): 'Approval' {
    return 'Approval';
  }
}

// Else whoever holds one approval could construct others through it.
Reflect.deleteProperty(MintedApproval.prototype, 'constructor');
Object.freeze(MintedApproval.prototype);
