"""ADBC over both protocols gives the same rows."""
import os

import adbc_driver_flightsql.dbapi as flight
import adbc_driver_postgresql.dbapi as postgres
from adbc_driver_manager import DatabaseOptions

password = os.environ["PASSWORD"]
uri = f"postgresql://ana:{password.replace(' ', '%20')}@127.0.0.1:{os.environ['PG_PORT']}/kolumn"
asked = "SELECT name, stage_timestamp, response_code, date, request_object FROM audit ORDER BY name"

with postgres.connect(uri) as connection, connection.cursor() as cursor:
    cursor.execute(asked)
    first = cursor.fetch_arrow_table()
    cursor.execute("SELECT count(*) FROM audit WHERE name = $1", ("a",))
    assert cursor.fetchone() == (1,)
    cursor.execute("SELECT name FROM audit WHERE false")
    assert cursor.fetch_arrow_table().num_rows == 0

options = {DatabaseOptions.USERNAME.value: "ana", DatabaseOptions.PASSWORD.value: password}
with flight.connect(f"grpc://127.0.0.1:{os.environ['FLIGHT_PORT']}", db_kwargs=options) as connection:
    with connection.cursor() as cursor:
        cursor.execute(asked)
        second = cursor.fetch_arrow_table()
        cursor.execute("SELECT count(*) FROM audit WHERE name = $1 AND response_code = $2", ("a", 201))
        assert cursor.fetchone() == (1,)
        cursor.execute("SELECT * FROM generate_series(1, 100000)")
        assert cursor.fetch_arrow_table().num_rows == 100000
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "kolumn", info
    objects = connection.adbc_get_objects(depth="columns").read_all().to_pylist()
    schemas = objects[0]["catalog_db_schemas"]
    tables = {t["table_name"]: t for t in schemas[0]["db_schema_tables"]}
    assert {"audit", "events", "mutations"} <= set(tables), list(tables)
    assert len(tables["audit"]["table_columns"]) == 83
    assert set(connection.adbc_get_table_types()) == {"TABLE", "VIEW"}

assert first.num_rows == second.num_rows == 4
assert first.column_names == second.column_names
for name in first.column_names:
    assert first[name].to_pylist() == second[name].to_pylist(), name
print("done")
