# Writes CSV: python records.py > plans.csv
python "$(dirname "$0")/records.py" "$@"
