"""Reference twin B, cascaded tanks: a real record, replayed in shadow mode and judged on data never fitted to."""

from pollux.twins.cascaded_tanks.twin import CascadedTanks as CascadedTanks
from pollux.twins.cascaded_tanks.twin import Textbook as Textbook
