// A session as its tenant knows it, which remembers what it was told.

import type { PgError } from "../../src/codec/error.ts";
import type { TenantSession } from "../../src/session/tenants.ts";

export class FakeTenantSession implements TenantSession {
  expelled: PgError | null = null;
  isHeld = false;

  expel(reason: PgError): void {
    this.expelled = reason;
  }

  hold(): void {
    this.isHeld = true;
  }

  release(): void {
    this.isHeld = false;
  }
}
