// The door of the cone projection.
#include "bindings.hpp"

void bind_drr(nanobind::module_& /*m*/) {}
