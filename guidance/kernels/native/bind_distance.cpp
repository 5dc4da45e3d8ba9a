// The door of masks: surfaces, distances to them, sampling.
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/tuple.h>

#include <cmath>
#include <memory>
#include <tuple>

#include "bindings.hpp"
#include "distance.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

#define U8_ARRAY "numpy.typing.NDArray[numpy.uint8]"
#define I32_ARRAY "numpy.typing.NDArray[numpy.int32]"
#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"
#define PLACE "tuple[float, float, float, float]"
#define MESH "tuple[" F64_ARRAY ", " I32_ARRAY "]"

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
template <class T, class... Shape>
using Out = nb::ndarray<nb::numpy, T, nb::c_contig, nb::device::cpu, Shape...>;
using Mask = In<std::uint8_t, nb::ndim<3>>;
using Values = In<float, nb::ndim<3>>;
using Matrix = In<double, nb::shape<3, 4>>;
using Points = In<double, nb::shape<-1, 3>>;
using Triangles = In<std::int32_t, nb::shape<-1, 3>>;
using MeshOut = std::tuple<Out<double, nb::shape<-1, 3>>, Out<std::int32_t, nb::shape<-1, 3>>>;

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

guidance::Voxels voxels_of(const Mask& mask) { return {mask.data(), {mask.shape(0), mask.shape(1), mask.shape(2)}}; }

guidance::Affine affine_of(const Matrix& matrix) {
  guidance::Affine affine{};
  for (std::size_t n = 0; n < 12; ++n) {
    require(std::isfinite(matrix.data()[n]), "a matrix must be finite");
    affine[n] = matrix.data()[n];
  }
  return affine;
}

void require_mesh(const Points& points, const Triangles& triangles) {
  for (std::size_t n = 0; n < points.size(); ++n) require(std::isfinite(points.data()[n]), "points must be finite");
  for (std::size_t n = 0; n < triangles.size(); ++n)
    require(triangles.data()[n] >= 0 && static_cast<std::size_t>(triangles.data()[n]) < points.shape(0),
            "triangles must name points");
}

void require_threads(unsigned threads) { require(threads >= 1 && threads <= 64, "threads must be 1 to 64"); }

guidance::FieldGrid grid_of(const std::array<double, 3>& origin, double spacing_mm,
                            const std::array<std::size_t, 3>& shape) {
  for (const double number : origin) require(std::isfinite(number), "origin must be finite");
  require(std::isfinite(spacing_mm) && spacing_mm > 0.0, "spacing_mm must be > 0");
  for (const std::size_t size : shape) require(size >= 2, "a grid needs two points along each axis");
  return {origin, spacing_mm, shape};
}

// Origin and spacing of a grid in one.
guidance::FieldValues field_of(const Values& values, const std::array<double, 4>& place) {
  return {values.data(),
          grid_of({place[0], place[1], place[2]}, place[3], {values.shape(0), values.shape(1), values.shape(2)})};
}

// Arrays that own what the mesh held.
MeshOut given(guidance::TriangleMesh made) {
  auto* mesh = new guidance::TriangleMesh(std::move(made));
  const auto shared = std::shared_ptr<guidance::TriangleMesh>(mesh);
  const auto owner = [&] {
    return nb::capsule(new std::shared_ptr<guidance::TriangleMesh>(shared),
                       [](void* held) noexcept { delete static_cast<std::shared_ptr<guidance::TriangleMesh>*>(held); });
  };
  return {Out<double, nb::shape<-1, 3>>(mesh->points.data(), {mesh->points.size(), 3}, owner()),
          Out<std::int32_t, nb::shape<-1, 3>>(mesh->triangles.data(), {mesh->triangles.size(), 3}, owner())};
}

class Tree {
 public:
  Tree(const Points& points, const Triangles& triangles) {
    require(triangles.shape(0) > 0, "a surface needs a triangle");
    require_mesh(points, triangles);
    nb::gil_scoped_release release;
    tree_ =
        std::make_unique<guidance::SurfaceTree>(points.data(), points.shape(0), triangles.data(), triangles.shape(0));
  }

  void nearest(const Points& points, const Out<double, nb::shape<-1, 3>>& places,
               const Out<double, nb::ndim<1>>& distances) const {
    require(places.shape(0) == points.shape(0) && distances.shape(0) == points.shape(0), "one row per point");
    nb::gil_scoped_release release;
    for (std::size_t n = 0; n < points.shape(0); ++n) {
      const guidance::Point place{points(n, 0), points(n, 1), points(n, 2)};
      double* out = places.data() + 3 * n;
      if (!std::isfinite(place[0]) || !std::isfinite(place[1]) || !std::isfinite(place[2])) {
        out[0] = out[1] = out[2] = distances.data()[n] = std::nan("");
        continue;
      }
      const guidance::Nearest found = tree_->nearest(place, HUGE_VAL);
      for (std::size_t axis = 0; axis < 3; ++axis) out[axis] = found.point[axis];
      distances.data()[n] = found.inside ? -found.distance_mm : found.distance_mm;
    }
  }

  void fill(const Mask& mask, const Matrix& ijk_from_lps, double level, double trusted_mm,
            const std::array<double, 3>& origin, double spacing_mm, unsigned threads,
            const Out<float, nb::ndim<3>>& out) const {
    require_threads(threads);
    const guidance::MaskSign sign{voxels_of(mask), affine_of(ijk_from_lps), level, trusted_mm};
    const auto grid = grid_of(origin, spacing_mm, {out.shape(0), out.shape(1), out.shape(2)});
    nb::gil_scoped_release release;
    guidance::distance_grid(*tree_, sign, grid, threads, out.data());
  }

  void sample(const Values& inner, const std::array<double, 4>& inner_place, const Values& outer,
              const std::array<double, 4>& outer_place, const Points& points,
              const Out<double, nb::ndim<1>>& out) const {
    require(out.shape(0) == points.shape(0), "out must have one number per point");
    const guidance::FieldValues first = field_of(inner, inner_place), second = field_of(outer, outer_place);
    nb::gil_scoped_release release;
    guidance::sample_grids(first, second, *tree_, points.data(), points.shape(0), out.data());
  }

 private:
  std::unique_ptr<guidance::SurfaceTree> tree_;
};

MeshOut isosurface(const Mask& mask, const Matrix& lps_from_ijk, double level) {
  const guidance::Affine affine = affine_of(lps_from_ijk);
  require(level > 0.0 && level < 255.0, "level must be between 0 and 255");
  guidance::TriangleMesh mesh;
  {
    nb::gil_scoped_release release;
    mesh = guidance::isosurface(voxels_of(mask), affine, level);
  }
  return given(std::move(mesh));
}

MeshOut simplified(const Points& points, const Triangles& triangles, std::size_t most_triangles, double deviation_mm,
                   int smoothing, double smoothing_mm) {
  require_mesh(points, triangles);
  require(deviation_mm >= 0.0 && smoothing >= 0 && smoothing_mm >= 0.0, "rules must be >= 0");
  guidance::TriangleMesh mesh;
  {
    nb::gil_scoped_release release;
    mesh.points.resize(points.shape(0));
    std::copy_n(points.data(), points.size(), mesh.points.data()->data());
    mesh.triangles.resize(triangles.shape(0));
    std::copy_n(triangles.data(), triangles.size(), mesh.triangles.data()->data());
    mesh = guidance::simplified(mesh, {most_triangles, deviation_mm, smoothing, smoothing_mm});
  }
  return given(std::move(mesh));
}

}  // namespace

void bind_distance(nb::module_& m) {
  m.def("isosurface", &isosurface, "mask"_a.noconvert(), "lps_from_ijk"_a.noconvert(), "level"_a,
        nb::sig("def isosurface(mask: " U8_ARRAY ", lps_from_ijk: " F64_ARRAY ", level: float) -> " MESH));
  m.def("simplified", &simplified, "points"_a.noconvert(), "triangles"_a.noconvert(), "most_triangles"_a,
        "deviation_mm"_a, "smoothing"_a, "smoothing_mm"_a,
        nb::sig("def simplified(points: " F64_ARRAY ", triangles: " I32_ARRAY
                ", most_triangles: int, deviation_mm: float, smoothing: int, smoothing_mm: float) -> " MESH));
  nb::class_<Tree>(m, "SurfaceTree")
      .def(nb::init<const Points&, const Triangles&>(), "points"_a.noconvert(), "triangles"_a.noconvert(),
           nb::sig("def __init__(self, points: " F64_ARRAY ", triangles: " I32_ARRAY ") -> None"))
      .def("nearest", &Tree::nearest, "points"_a.noconvert(), "places"_a.noconvert(), "distances"_a.noconvert(),
           nb::sig("def nearest(self, points: " F64_ARRAY ", places: " F64_ARRAY ", distances: " F64_ARRAY ") -> None"))
      .def("fill", &Tree::fill, "mask"_a.noconvert(), "ijk_from_lps"_a.noconvert(), "level"_a, "trusted_mm"_a,
           "origin"_a, "spacing_mm"_a, "threads"_a, "out"_a.noconvert(),
           nb::sig("def fill(self, mask: " U8_ARRAY ", ijk_from_lps: " F64_ARRAY
                   ", level: float, trusted_mm: float, origin: tuple[float, float, float], spacing_mm: float, threads: "
                   "int, out: " F32_ARRAY ") -> None"))
      .def("sample", &Tree::sample, "inner"_a.noconvert(), "inner_place"_a, "outer"_a.noconvert(), "outer_place"_a,
           "points"_a.noconvert(), "out"_a.noconvert(),
           nb::sig("def sample(self, inner: " F32_ARRAY ", inner_place: " PLACE ", outer: " F32_ARRAY
                   ", outer_place: " PLACE ", points: " F64_ARRAY ", out: " F64_ARRAY ") -> None"));
}
