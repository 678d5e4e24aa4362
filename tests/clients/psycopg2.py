"""psycopg2, which Superset speaks through: parameters put in by the client, named cursors."""
import os

import psycopg2

dsn = f"host=127.0.0.1 port={os.environ['PG_PORT']} user=ana password='{os.environ['PASSWORD']}' dbname=kolumn"

connection = psycopg2.connect(dsn)
cursor = connection.cursor()
cursor.execute("SELECT count(*) FROM audit WHERE name = %s", ("a",))
assert cursor.fetchone() == (1,)
named = connection.cursor(name="named")
named.itersize = 2
named.execute("SELECT name FROM audit ORDER BY name")
assert [row[0] for row in named] == ["a", "b", "c", "d"]
connection.close()
print("done")
