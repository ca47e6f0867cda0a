CREATE FUNCTION add(a int, b int DEFAULT 10) RETURNS int LANGUAGE sql AS 'SELECT a + b'

SELECT add(1), add(1, 2), add(b => 5, a => 1)

SELECT add('x')

CREATE FUNCTION series(n int) RETURNS TABLE (i int, square int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..n LOOP square := i * i; series.i := i; RETURN NEXT; END LOOP; END $$

SELECT * FROM series(4)

CREATE FUNCTION divide(a int, b int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN a / b; EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'caught %', SQLERRM; RETURN NULL; END $$

SELECT divide(6, 3), divide(1, 0)

CREATE FUNCTION fails() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 / 0; END $$

SELECT fails()

CREATE FUNCTION outer_one() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM fails(); END $$

SELECT outer_one()

DO $$ DECLARE state text; context text; BEGIN PERFORM fails(); EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, context = PG_EXCEPTION_CONTEXT; RAISE NOTICE '% %', state, context; END $$

CREATE FUNCTION both(INOUT a int, OUT b text) LANGUAGE plpgsql AS $$ BEGIN a := a + 1; b := 'n' || a; END $$

SELECT * FROM both(1)

SELECT both(2)

CREATE PROCEDURE proc(INOUT n int) LANGUAGE plpgsql AS $$ BEGIN n := n * 2; END $$

CALL proc(21)

CALL add(1)

SELECT proc(1)

CREATE TABLE audited (id int, v text); CREATE TABLE audit (what text, id int)

CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (TG_OP, coalesce(NEW.id, OLD.id)); IF NEW.v = 'forbidden' THEN RAISE EXCEPTION 'not that' USING ERRCODE = 'check_violation'; END IF; RETURN coalesce(NEW, OLD); END $$

CREATE TRIGGER noted BEFORE INSERT OR UPDATE OR DELETE ON audited FOR EACH ROW EXECUTE FUNCTION note()

INSERT INTO audited VALUES (1, 'a'), (2, 'b')

UPDATE audited SET v = 'c' WHERE id = 2

DELETE FROM audited WHERE id = 1

INSERT INTO audited VALUES (3, 'forbidden')

SELECT * FROM audit

CREATE FUNCTION dynamic(t text) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN EXECUTE format('SELECT count(*) FROM %I', t) INTO n; RETURN n; END $$

SELECT dynamic('audit'), dynamic('audited')

SELECT dynamic('nowhere')

CREATE FUNCTION variadic_sum(VARIADIC n int[]) RETURNS int LANGUAGE sql AS 'SELECT sum(x)::int FROM unnest(n) x'

SELECT variadic_sum(1, 2, 3), variadic_sum(VARIADIC ARRAY[4, 5])

CREATE FUNCTION poly(a anyelement) RETURNS anyarray LANGUAGE sql AS 'SELECT ARRAY[a, a]'

SELECT poly(1), poly('x'::text)

CREATE AGGREGATE product(int) (SFUNC = int4mul, STYPE = int, INITCOND = '1')

SELECT product(n) FROM generate_series(1, 5) n

CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)

SELECT 1 === 1, 1 === 2

CREATE FUNCTION definer() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT current_setting(''search_path'')'

SELECT definer(), current_setting('search_path')

CREATE FUNCTION notices() RETURNS int LANGUAGE plpgsql AS $$ BEGIN FOR n IN 1..3 LOOP RAISE NOTICE 'number %', n; END LOOP; RETURN 3; END $$

SELECT notices()

--@ extended []
SELECT notices()

CREATE FUNCTION loops() RETURNS text LANGUAGE plpgsql AS $$ DECLARE r record; s text := ''; BEGIN FOR r IN SELECT n FROM generate_series(1, 10) n LOOP CONTINUE WHEN r.n % 2 = 0; EXIT WHEN r.n > 7; s := s || r.n; END LOOP; RETURN s; END $$

SELECT loops()

CREATE FUNCTION asserted(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN ASSERT n > 0, 'positive'; RETURN n; END $$

SELECT asserted(1)

SELECT asserted(-1)

CREATE FUNCTION syntax_error() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETRUN 1; END $$

CREATE FUNCTION set_in_function() RETURNS text LANGUAGE plpgsql SET TimeZone = 'Asia/Tokyo' AS $$ BEGIN RETURN current_setting('TimeZone'); END $$

SELECT set_in_function(), current_setting('TimeZone')

BEGIN; SELECT set_config('app.within', 'x', true); SELECT current_setting('app.within'); COMMIT

SELECT nullif(current_setting('app.within', true), '')

CREATE FUNCTION deep(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF n = 0 THEN RETURN 0; END IF; RETURN 1 + deep(n - 1); END $$

SELECT deep(50)

DROP FUNCTION add

DROP FUNCTION add(int)

DROP FUNCTION fails CASCADE

DO $$ BEGIN END $$

DO LANGUAGE nonsense 'x'

SELECT proname, prokind FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1
