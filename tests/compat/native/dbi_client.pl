# Perl DBI with DBD::Pg: the checks of js/scenario.mjs.

use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:async);
use Digest::MD5 qw(md5_hex);
use Encode qw(encode_utf8);
use JSON::PP;
use Time::HiRes qw(sleep time);

my %env = map { $_ => $ENV{"COMPAT_$_"} // '' } qw(ROLE PASSWORD HOST PORT SERIAL_PORT DATABASE CA);
my %names = (a => ['Alice Corp', 'Alice LLC'], b => ['Bob Inc', 'Bob Ltd']);
my %person = (a => 'ann', b => 'bob');
my %pids = (a => {}, b => {});
my $json = JSON::PP->new->canonical;
$| = 1;

sub say_fact { print $json->encode($_[0]), "\n" }

sub connect_as {
    my ($key, $port) = (@_, $env{PORT});
    my $tls = $env{CA} ? "sslmode=verify-full;sslrootcert=$env{CA}" : 'sslmode=disable';
    return DBI->connect(
        "dbi:Pg:dbname=$env{DATABASE};host=$env{HOST};port=$port;$tls",
        "$env{ROLE}.tenant_$key:$person{$key}", $env{PASSWORD},
        { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1 });
}

sub same {
    my ($seen, $expected) = map { $json->encode([$_]) } @_;
    die "$seen and not $expected" if $seen ne $expected;
}

sub names_of { $_[0]->selectcol_arrayref('SELECT name FROM tenants ORDER BY name') }

sub add {
    my ($dbh, $tenant, $name) = @_;
    $dbh->do('INSERT INTO tenants (tenant_id, name) VALUES (?, ?)', undef, $tenant, $name);
}

sub refused {
    my ($dbh, $state, $work) = @_;
    die "this should fail with $state" if eval { $work->(); 1 };
    same($dbh->state, $state);
}

sub isolation {
    my ($a, $b) = @_;
    for ([$a, 'a', 'b'], [$b, 'b', 'a']) {
        my ($dbh, $own, $other) = @$_;
        same(names_of($dbh), $names{$own});
        my $sql = 'SELECT count(*)::text FROM tenants WHERE tenant_id = ?';
        same($dbh->selectrow_arrayref($sql, undef, "tenant_$other"), ['0']);
        refused($dbh, '42501', sub { add($dbh, "tenant_$other", 'smuggled') });
        same($dbh->selectrow_arrayref("SELECT current_setting('app.current_tenant_id'),
            current_setting('app.user_id'), current_user::text"),
            ["tenant_$own", $person{$own}, $env{ROLE}]);
    }
}

sub transaction {
    my ($a, $b) = @_;
    $a->begin_work;
    add($a, 'tenant_a', 'Committed');
    same(names_of($a), [@{ $names{a} }, 'Committed']);
    same(names_of($b), $names{b});
    $a->commit;
    for my $dbh ($b, $a) {
        same(names_of($a), [@{ $names{a} }, 'Committed']);
        $dbh->do("DELETE FROM tenants WHERE name = 'Committed'");
    }
    same(names_of($a), $names{a});
}

sub rollback {
    my ($a) = @_;
    $a->begin_work;
    add($a, 'tenant_a', 'Rolled back');
    $a->rollback;
    $a->begin_work;
    add($a, 'tenant_a', 'Undone');
    refused($a, '22012', sub { $a->selectall_arrayref('SELECT 1 / ?::int', undef, 0) });
    $a->rollback;
    same(names_of($a), $names{a});
}

sub prepared_statements {
    my ($a, $b) = @_;
    my $sql = 'SELECT name FROM tenants WHERE ?::int >= 0 ORDER BY name';
    my @both = map { { key => $_->[1], sth => $_->[0]->prepare($sql, { pg_prepare_now => 1 }) } }
        ([$a, 'a'], [$b, 'b']);
    for my $turn (1 .. 20) {
        for (@both) {
            $_->{sth}->execute($turn);
            same([map { $_->[0] } @{ $_->{sth}->fetchall_arrayref }], $names{ $_->{key} });
        }
    }
}

sub large_parameter {
    my ($a) = @_;
    my $text = 'größer ' x 150_000;
    my $row = $a->selectrow_arrayref('SELECT md5(?::text), ?::text', undef, $text, $text);
    my $expected = md5_hex(encode_utf8($text));
    same($row->[0], $expected);
    same(md5_hex(encode_utf8($row->[1])), $expected);
}

sub error_check {
    my ($a, $b) = @_;
    for my $dbh ($a, $b, $a) {
        refused($dbh, '22012', sub { $dbh->selectall_arrayref('SELECT 1 / ?::int', undef, 0) });
        refused($dbh, '42P01', sub { $dbh->selectall_arrayref('SELECT nothing FROM nowhere') });
    }
    same(names_of($a), $names{a});
}

sub cancel {
    my ($a, $b) = @_;
    my $query = 'SELECT pg_sleep(' . (100 + int rand 800) . ')';
    $a->do($query, { pg_async => PG_ASYNC });
    my $running = "SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active'
        AND pid <> pg_backend_pid() AND query = ?";
    my $deadline = time + 30;
    until ($b->selectrow_array($running, undef, $query)) {
        die 'in vain: it runs' if time > $deadline;
        sleep 0.02;
    }
    $a->pg_cancel; # reads the error away itself
    while ($b->selectrow_array($running, undef, $query)) {
        die 'in vain: it has ended' if time > $deadline;
        sleep 0.02;
    }
    same(names_of($a), $names{a});
}

sub pool_return {
    $_->disconnect for @_;
    for my $key (qw(a b a b a b)) {
        my $dbh = connect_as($key, $env{SERIAL_PORT});
        same(names_of($dbh), $names{$key});
        my ($pid, @left) = $dbh->selectrow_array("SELECT pg_backend_pid(),
            to_regclass('left_behind')::text, nullif(current_setting('app.note', true), '')");
        $pids{$key}{$pid} = 1;
        same([@left], [undef, undef]);
        $dbh->do("SELECT set_config('app.note', ?, false)", undef, $key);
        $dbh->do('CREATE TEMPORARY TABLE left_behind (n int)');
        $dbh->disconnect;
    }
}

my @checks = (
    [isolation => \&isolation], [transaction => \&transaction], [rollback => \&rollback],
    ['prepared statements' => \&prepared_statements], ['large parameter' => \&large_parameter],
    [error => \&error_check], [cancel => \&cancel], ['pool return' => \&pool_return],
    ['percent-encoded URL' => sub { 'none' }],
);
say_fact({ version => "DBD::Pg $DBD::Pg::VERSION", on => sprintf('Perl %vd', $^V) });
my @both = map { connect_as($_) } qw(a b);
for (@checks) {
    my ($check, $work) = @$_;
    my $result = eval { my $said = $work->(@both); ($said // '') eq 'none' ? 'none' : 'pass' };
    say_fact($result
        ? { check => $check, result => $result }
        : { check => $check, result => 'fail', why => "$@" });
}
say_fact({ pids => { map { $_ => [map { 0 + $_ } keys %{ $pids{$_} }] } qw(a b) } });
