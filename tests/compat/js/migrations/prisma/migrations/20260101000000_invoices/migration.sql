CREATE TABLE "invoices" (
  "id" SERIAL NOT NULL,
  "tenant_id" TEXT NOT NULL DEFAULT current_setting('app.current_tenant_id'::text, true),
  "amount" INTEGER NOT NULL,
  CONSTRAINT "invoices_pkey" PRIMARY KEY ("id")
);
-- What Prisma does not write itself:
ALTER TABLE "invoices" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "tenant" ON "invoices"
  USING ("tenant_id" = current_setting('app.current_tenant_id', true));
