# Four DGX H100 for 70 conversation requests/s: bought, reserved or rented, over four years, switched on 70 % of the hours.
# The offers lie in overlay/prices, in euro; the rate that turns them into dollars in overlay/currencies.
planner cost --pool mixed=dgx-h100:4:tp4 --prices our-offers --region our-site --pue 1.3 \
  --horizon "4 years" --use "70 %" --cost-of-capital "7 %" --start 2026-12-01 \
  --catalog "$(dirname "$0")/overlay" "$@"
