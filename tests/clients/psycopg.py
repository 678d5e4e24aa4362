"""psycopg 3: parameters in text and binary, server-side cursors, COPY, pipelines."""
import datetime
import os

import psycopg

dsn = f"host=127.0.0.1 port={os.environ['PG_PORT']} user=ana password='{os.environ['PASSWORD']}' dbname=kolumn"

with psycopg.connect(dsn) as connection:
    run = connection.execute
    since = datetime.datetime(2026, 11, 19, 9, tzinfo=datetime.timezone.utc)
    asked = "SELECT name, stage_timestamp, response_code, user_groups FROM audit WHERE stage_timestamp > %s AND name = %s"
    for binary in (False, True):
        rows = connection.cursor(binary=binary).execute(asked, (since, "a")).fetchall()
        time = datetime.datetime(2026, 11, 19, 10, 0, 0, 123456, tzinfo=datetime.timezone.utc)
        assert rows == [("a", time, 201, ["g1", "g2"])], (binary, rows)
        row = connection.cursor(binary=binary).execute(
            "SELECT 1::bigint, 2.5::double precision, true, DATE '2026-11-20', NULL, 'ü', b.date "
            "FROM audit b WHERE name = 'a'"
        ).fetchone()
        assert row == (1, 2.5, True, datetime.date(2026, 11, 20), None, "ü", datetime.date(2026, 11, 19)), row
    assert run("SELECT count(*) FROM audit WHERE name = ANY(%s)", (["a", "b", "x"],)).fetchone() == (2,)
    assert run("SELECT %s::int + %s", (1, 2)).fetchone() == (3,)
    # Prepared by the driver after the fifth time.
    for at in range(8):
        assert run("SELECT %s::bigint", (at,)).fetchone() == (at,)
    with connection.cursor(name="server_side") as cursor:
        cursor.itersize = 1
        cursor.execute("SELECT name FROM audit ORDER BY name")
        assert [row[0] for row in cursor] == ["a", "b", "c", "d"]
    with connection.cursor().copy("COPY (SELECT name, response_code FROM audit ORDER BY 1) TO STDOUT") as copy:
        assert list(copy.rows()) == [(name, "201") for name in "abcd"]
    with connection.pipeline():
        cursors = [run("SELECT %s::int", (at,)) for at in range(5)]
    assert [c.fetchone()[0] for c in cursors] == list(range(5))
    connection.commit()
    try:
        run("DELETE FROM audit")
        raise AssertionError("deleted")
    except psycopg.errors.ReadOnlySqlTransaction:
        connection.rollback()
    try:
        run("SELECT * FROM absent")
        raise AssertionError("selected")
    except psycopg.errors.UndefinedTable:
        connection.rollback()
    assert connection.info.server_version == 160006
print("done")
