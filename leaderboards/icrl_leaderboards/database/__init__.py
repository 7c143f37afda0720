"""The leaderboard's database: tables, connections, migrations, and reading and writing of runs and studies."""
