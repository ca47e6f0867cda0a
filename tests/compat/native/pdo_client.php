<?php
// PHP's PDO: the checks of js/scenario.mjs.

declare(strict_types=1);

const NAMES = ['a' => ['Alice Corp', 'Alice LLC'], 'b' => ['Bob Inc', 'Bob Ltd']];
const PERSON = ['a' => 'ann', 'b' => 'bob'];
$pids = ['a' => [], 'b' => []];

function env(string $name): string
{
    return (string) getenv("COMPAT_$name");
}

function connect(string $key, string $port = 'PORT'): PDO
{
    $tls = env('CA') === '' ? 'sslmode=disable' : 'sslmode=verify-full;sslrootcert=' . env('CA');
    $place = 'host=' . env('HOST') . ';port=' . env($port) . ';dbname=' . env('DATABASE');
    $user = env('ROLE') . ".tenant_$key:" . PERSON[$key];
    $options = [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION];
    return new PDO("pgsql:$place;$tls", $user, env('PASSWORD'), $options);
}

function rows(PDO $db, string $sql, array $values = []): array
{
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return $statement->fetchAll(PDO::FETCH_NUM);
}

function names(PDO $db): array
{
    return array_column(rows($db, 'SELECT name FROM tenants ORDER BY name'), 0);
}

function add(PDO $db, string $tenant, string $name): void
{
    rows($db, 'INSERT INTO tenants (tenant_id, name) VALUES (?, ?)', [$tenant, $name]);
}

function same(mixed $seen, mixed $expected): void
{
    if ($seen !== $expected) {
        throw new Exception(json_encode($seen) . ' and not ' . json_encode($expected));
    }
}

function refused(string $state, callable $work): void
{
    try {
        $work();
    } catch (PDOException $error) {
        same($error->getCode(), $state);
        return;
    }
    throw new Exception("this should fail with $state");
}

$checks = [
    'isolation' => function (PDO $a, PDO $b): void {
        foreach ([[$a, 'a', 'b'], [$b, 'b', 'a']] as [$db, $own, $other]) {
            same(names($db), NAMES[$own]);
            $sql = 'SELECT count(*)::text FROM tenants WHERE tenant_id = ?';
            same(rows($db, $sql, ["tenant_$other"]), [['0']]);
            refused('42501', fn () => add($db, "tenant_$other", 'smuggled'));
            $seen = rows($db, "SELECT current_setting('app.current_tenant_id'),
                current_setting('app.user_id'), current_user::text");
            same($seen, [["tenant_$own", PERSON[$own], env('ROLE')]]);
        }
    },
    'transaction' => function (PDO $a, PDO $b): void {
        $a->beginTransaction();
        add($a, 'tenant_a', 'Committed');
        same(names($a), [...NAMES['a'], 'Committed']);
        same(names($b), NAMES['b']);
        $a->commit();
        foreach ([$b, $a] as $db) {
            same(names($a), [...NAMES['a'], 'Committed']);
            $db->exec("DELETE FROM tenants WHERE name = 'Committed'");
        }
        same(names($a), NAMES['a']);
    },
    'rollback' => function (PDO $a): void {
        $a->beginTransaction();
        add($a, 'tenant_a', 'Rolled back');
        $a->rollBack();
        $a->beginTransaction();
        add($a, 'tenant_a', 'Undone');
        refused('22012', fn () => rows($a, 'SELECT 1 / ?::int', [0]));
        $a->rollBack();
        same(names($a), NAMES['a']);
    },
    'prepared statements' => function (PDO $a, PDO $b): void {
        $sql = 'SELECT name FROM tenants WHERE ?::int >= 0 ORDER BY name';
        $both = [[$a->prepare($sql), 'a'], [$b->prepare($sql), 'b']];
        for ($turn = 0; $turn < 20; $turn++) {
            foreach ($both as [$statement, $own]) {
                $statement->execute([$turn]);
                same($statement->fetchAll(PDO::FETCH_COLUMN), NAMES[$own]);
            }
        }
    },
    'large parameter' => function (PDO $a): void {
        $text = str_repeat('größer ', 150_000);
        [[$sum, $back]] = rows($a, 'SELECT md5(?::text), ?::text', [$text, $text]);
        same($sum, md5($text));
        same($back === $text, true);
    },
    'error' => function (PDO $a, PDO $b): void {
        foreach ([$a, $b, $a] as $db) {
            refused('22012', fn () => rows($db, 'SELECT 1 / ?::int', [0]));
            refused('42P01', fn () => $db->query('SELECT nothing FROM nowhere'));
        }
        same(names($a), NAMES['a']);
    },
    'cancel' => fn () => 'none',
    'pool return' => function () use (&$pids): void {
        foreach (['a', 'b', 'a', 'b', 'a', 'b'] as $key) {
            $db = connect($key, 'SERIAL_PORT');
            same(names($db), NAMES[$key]);
            [[$pid, $table, $note]] = rows($db, "SELECT pg_backend_pid(),
                to_regclass('left_behind')::text, nullif(current_setting('app.note', true), '')");
            $pids[$key][] = $pid;
            same([$table, $note], [null, null]);
            rows($db, "SELECT set_config('app.note', ?, false)", [$key]);
            $db->exec('CREATE TEMPORARY TABLE left_behind (n int)');
            unset($db);
        }
    },
    'percent-encoded URL' => fn () => 'none',
];

$say = function (array $fact): void {
    echo json_encode($fact), "\n";
};
$first = connect('a');
$say(['version' => 'PDO_PGSQL ' . phpversion('pdo_pgsql') . ' (libpq ' .
    $first->getAttribute(PDO::ATTR_CLIENT_VERSION) . ')', 'on' => 'PHP ' . PHP_VERSION]);
unset($first);
$both = [connect('a'), connect('b')];
foreach ($checks as $check => $work) {
    $both = $check === 'pool return' ? [] : $both; // the end of both connections
    try {
        $say(['check' => $check, 'result' => $work(...$both) ?? 'pass']);
    } catch (Throwable $error) {
        $say(['check' => $check, 'result' => 'fail', 'why' => (string) $error]);
    }
}
$say(['pids' => $pids]);
