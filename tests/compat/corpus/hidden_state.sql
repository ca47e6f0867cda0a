-- What transaction mode cannot know of, or not carry over: slip() runs what it is given backwards, so that no
-- text tells what it leaves.

CREATE FUNCTION slip(sdrawkcab text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE reverse(sdrawkcab); END $$

SELECT slip('''erofeb'' = neddih.ppa TES')

SELECT nullif(current_setting('app.hidden', true), '') AS behind_a_function

BEGIN; SELECT slip('''nihtiw'' = neddih.ppa TES'); SELECT current_setting('app.hidden'); COMMIT

SELECT slip('n SA 1 TCELES SA neddih ELBAT YRAROPMET ETAERC')

SELECT * FROM hidden

BEGIN; SELECT slip('n SA 1 TCELES SA nihtiw ELBAT YRAROPMET ETAERC'); SELECT * FROM within; DROP TABLE within; COMMIT

--@ parse give_up
ROLLBACK

BEGIN

SELECT 1/0

--@ run give_up []

ROLLBACK

SELECT 'in order'
