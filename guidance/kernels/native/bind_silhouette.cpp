// The door of the zones' outlines.
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "bindings.hpp"
#include "kernels.hpp"
#include "silhouette.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

#define U8_ARRAY "numpy.typing.NDArray[numpy.uint8]"
#define I32_ARRAY "numpy.typing.NDArray[numpy.int32]"
#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
template <class T, class... Shape>
using Out = nb::ndarray<nb::numpy, T, nb::c_contig, nb::device::cpu, Shape...>;
using Strokes = nb::ndarray<nb::numpy, float, nb::shape<-1, guidance::kStrokeNumbers>>;
using guidance::ShadowMesh;

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

void make_mesh(ShadowMesh* self, const In<float, nb::shape<-1, 3>>& vertices,
               const In<std::int32_t, nb::shape<-1, 3>>& triangles) {
  const std::size_t vertex_count = vertices.shape(0), triangle_count = triangles.shape(0);
  require(vertex_count < (std::size_t{1} << 31) && triangle_count < (std::size_t{1} << 31), "the surface is too large");
  for (std::size_t i = 0; i < 3 * vertex_count; ++i)
    require(std::isfinite(vertices.data()[i]), "vertices must be finite");
  for (std::size_t i = 0; i < 3 * triangle_count; ++i) {
    const std::int32_t vertex = triangles.data()[i];
    require(vertex >= 0 && static_cast<std::size_t>(vertex) < vertex_count, "triangles must be of the vertices");
  }
  nb::gil_scoped_release release;
  new (self) ShadowMesh(vertices.data(), vertex_count, triangles.data(), triangle_count);
}

Strokes silhouette_strokes(const std::vector<const ShadowMesh*>& meshes,
                           const In<std::uint8_t, nb::shape<-1, 3>>& colors,
                           const In<double, nb::shape<3, 4>>& pixel_from_patient, double line_width_px,
                           std::uint32_t rows, std::uint32_t columns,
                           const Out<double, nb::shape<-1, guidance::kOutlineNumbers>>& summary) {
  require(colors.shape(0) == meshes.size() && summary.shape(0) == meshes.size(),
          "colors and summary must have one row per mesh");
  require(std::isfinite(line_width_px) && line_width_px >= 0.0, "line_width_px must be finite and not below 0");
  guidance::OutlineRequest request{{}, line_width_px, static_cast<double>(rows), static_cast<double>(columns)};
  std::memcpy(request.pixel_from_patient.data(), pixel_from_patient.data(), sizeof request.pixel_from_patient);
  const auto& matrix = request.pixel_from_patient;
  for (const double number : matrix) require(std::isfinite(number), "pixel_from_patient must be finite");
  const double determinant = matrix[0] * (matrix[5] * matrix[10] - matrix[6] * matrix[9]) -
                             matrix[1] * (matrix[4] * matrix[10] - matrix[6] * matrix[8]) +
                             matrix[2] * (matrix[4] * matrix[9] - matrix[5] * matrix[8]);
  require(std::isfinite(determinant) && determinant != 0.0, "pixel_from_patient is singular: it has no X-ray source");
  auto strokes = std::make_unique<std::vector<float>>();
  {
    nb::gil_scoped_release release;
    *strokes = guidance::silhouette_strokes(meshes, colors.data(), request, summary.data());
  }
  const std::size_t count = strokes->size() / guidance::kStrokeNumbers;
  float* numbers = strokes->data();
  nb::capsule owner(strokes.release(), [](void* held) noexcept { delete static_cast<std::vector<float>*>(held); });
  return Strokes(numbers, {count, guidance::kStrokeNumbers}, owner);
}

}  // namespace

void bind_silhouette(nb::module_& m) {
  nb::class_<ShadowMesh>(m, "ShadowMesh")
      .def("__init__", &make_mesh, "vertices_lps_mm"_a.noconvert(), "triangles"_a.noconvert(),
           nb::sig("def __init__(self, vertices_lps_mm: " F32_ARRAY ", triangles: " I32_ARRAY ") -> None"))
      .def_prop_ro("edges", [](const ShadowMesh& mesh) { return mesh.edges.size(); })
      .def_prop_ro("triangles", [](const ShadowMesh& mesh) { return mesh.triangle_count; });
  m.def("silhouette_strokes", &silhouette_strokes, "meshes"_a, "colors"_a.noconvert(),
        "pixel_from_patient"_a.noconvert(), "line_width_px"_a, "rows"_a, "columns"_a, "summary"_a.noconvert(),
        nb::sig("def silhouette_strokes(meshes: list[ShadowMesh], colors: " U8_ARRAY ", pixel_from_patient: " F64_ARRAY
                ", line_width_px: float, rows: int, columns: int, summary: " F64_ARRAY ") -> " F32_ARRAY));
}
