# tests/env.sh - the environment of every run on one machine; to be sourced from any folder.
# shellcheck shell=bash
# Values that are already set win.

# Root may run ranks (containers); more ranks than cores; no pinning, and idle ranks yield, since
# several ranks share a core here.
export OMPI_ALLOW_RUN_AS_ROOT="${OMPI_ALLOW_RUN_AS_ROOT:-1}"
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-1}"
export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe:-1}"
export OMPI_MCA_hwloc_base_binding_policy="${OMPI_MCA_hwloc_base_binding_policy:-none}"
export OMPI_MCA_mpi_yield_when_idle="${OMPI_MCA_mpi_yield_when_idle:-1}"

# Texts of the longer tests, when they are at hand beside the repository.
_sluice_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -z "${SLUICE_TEST_DATA:-}" ] && [ -d "$_sluice_root/../shared/data" ]; then
    SLUICE_TEST_DATA=$(cd "$_sluice_root/../shared/data" && pwd)
    export SLUICE_TEST_DATA
fi
unset _sluice_root
