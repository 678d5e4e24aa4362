"""Flight SQL: no way in without a password, no way to write, and what Tableau's driver asks for."""
import os

import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import pyarrow.flight
from adbc_driver_manager import DatabaseOptions

address = f"grpc://127.0.0.1:{os.environ['FLIGHT_PORT']}"


def connect(name, password):
    options = {DatabaseOptions.USERNAME.value: name, DatabaseOptions.PASSWORD.value: password}
    return flight.connect(address, db_kwargs=options)


def fails(act):
    try:
        act()
    except (adbc_driver_manager.Error, pyarrow.lib.ArrowException) as e:
        return str(e)
    raise AssertionError("it did not fail")


for name, password in [("ana", "wrong"), ("nobody", os.environ["PASSWORD"]), ("", "")]:
    fails(lambda: connect(name, password).cursor().execute("SELECT 1"))
client = pyarrow.flight.connect(address)
anonymous = pyarrow.flight.FlightDescriptor.for_command(b"x")
fails(lambda: client.get_flight_info(anonymous))
fails(lambda: list(client.list_flights()))
fails(lambda: client.do_get(pyarrow.flight.Ticket(b"x")).read_all())
made_up = pyarrow.flight.FlightCallOptions(headers=[(b"authorization", b"Bearer " + b"0" * 64)])
fails(lambda: client.get_flight_info(anonymous, made_up))

with connect("ana", os.environ["PASSWORD"]) as connection, connection.cursor() as cursor:
    for statement in [
        "DELETE FROM audit",
        "DROP TABLE audit",
        "CREATE TABLE t (a int)",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "COPY audit TO '/tmp/kolumn-hostile.csv'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT 1; SELECT 2",
        "SELECT * FROM '/etc/passwd'",
        "SELECT " + "1+" * 100000 + "1",
        "",
    ]:
        fails(lambda: cursor.execute(statement))
        fails(lambda: cursor.executemany(statement, [(1,)]))
    cursor.execute("SELECT count(*) FROM audit")
    assert cursor.fetchone() == (4,)

with connect("limited", os.environ["PASSWORD"]) as connection, connection.cursor() as cursor:
    cursor.execute("SELECT count(*), count(request_object), min(cluster), max(cluster) FROM audit")
    assert cursor.fetchone() == (2, 0, "prod", "prod")
    cursor.execute("SELECT * FROM generate_series(1, 11)")
    assert "more than 10 rows" in fails(lambda: cursor.fetch_arrow_table())
print("done")
