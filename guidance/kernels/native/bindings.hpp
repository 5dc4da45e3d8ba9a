// Each family of kernels adds its own functions to the module.
#pragma once

#include <nanobind/nanobind.h>

void bind_cement(nanobind::module_& m);
void bind_cement_body(nanobind::module_& m);
void bind_corridor(nanobind::module_& m);
void bind_distance(nanobind::module_& m);
void bind_drr(nanobind::module_& m);
void bind_ridge(nanobind::module_& m);
void bind_tubes(nanobind::module_& m);
void bind_silhouette(nanobind::module_& m);
void bind_watch(nanobind::module_& m);
