// The door of the tubes and their labels.
#include <nanobind/ndarray.h>

#include <cmath>
#include <cstring>

#include "bindings.hpp"
#include "kernels.hpp"
#include "tubes.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

#define U8_ARRAY "numpy.typing.NDArray[numpy.uint8]"
#define I32_ARRAY "numpy.typing.NDArray[numpy.int32]"
#define I64_ARRAY "numpy.typing.NDArray[numpy.int64]"
#define F32_ARRAY "numpy.typing.NDArray[numpy.float32]"
#define F64_ARRAY "numpy.typing.NDArray[numpy.float64]"

template <class T, class... Shape>
using In = nb::ndarray<nb::ro, nb::numpy, const T, nb::c_contig, nb::device::cpu, Shape...>;
template <class T, class... Shape>
using Out = nb::ndarray<nb::numpy, T, nb::c_contig, nb::device::cpu, Shape...>;
using Tubes = In<double, nb::shape<-1, guidance::kTubeNumbers>>;
using Ticks = In<double, nb::ndim<1>>;
using TickEnds = In<std::int64_t, nb::ndim<1>>;
using Colors = In<std::uint8_t, nb::shape<-1, 3>>;
using Strokes = Out<float, nb::shape<-1, guidance::kStrokeNumbers>>;
using Summary = Out<double, nb::shape<-1, guidance::kSummaryNumbers>>;

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

void require_ticks(const TickEnds& ends, std::size_t count, std::size_t ticks) {
  require(ends.shape(0) == count + 1, "tick_ends must have one number more than there are tubes");
  std::int64_t before = 0;
  for (std::size_t i = 0; i <= count; ++i) {
    require(ends.data()[i] >= before && (i > 0 || ends.data()[i] == 0), "tick_ends must begin at 0 and rise");
    before = ends.data()[i];
  }
  require(static_cast<std::size_t>(before) == ticks, "tick_ends must end at the number of ticks");
}

std::size_t tube_strokes(const Tubes& tubes, const Ticks& tick_depth_mm, const TickEnds& tick_ends,
                         const Colors& colors, const In<double, nb::shape<3, 4>>& pixel_from_patient,
                         double line_width_px, double scale, const Strokes& strokes, const Summary& summary) {
  const std::size_t count = tubes.shape(0), ticks = tick_depth_mm.shape(0);
  require_ticks(tick_ends, count, ticks);
  require(colors.shape(0) == count, "colors must have one row per tube");
  require(summary.shape(0) == count, "summary must have one row per tube");
  require(strokes.shape(0) >= count * guidance::kTubeStrokes + ticks, "strokes must have room for all tubes");
  require(std::isfinite(line_width_px) && std::isfinite(scale) && scale > 0.0, "sizes must be finite, scale > 0");
  std::array<double, 12> matrix;
  std::memcpy(matrix.data(), pixel_from_patient.data(), sizeof matrix);
  for (const double number : matrix) require(std::isfinite(number), "pixel_from_patient must be finite");
  const double determinant = matrix[0] * (matrix[5] * matrix[10] - matrix[6] * matrix[9]) -
                             matrix[1] * (matrix[4] * matrix[10] - matrix[6] * matrix[8]) +
                             matrix[2] * (matrix[4] * matrix[9] - matrix[5] * matrix[8]);
  require(std::isfinite(determinant) && determinant != 0.0, "pixel_from_patient is singular: it has no X-ray source");
  nb::gil_scoped_release release;
  return guidance::tube_strokes({tubes.data(), count, tick_depth_mm.data(), tick_ends.data(), colors.data()}, matrix,
                                {line_width_px, scale}, strokes.data(), summary.data());
}

void label_spots(const In<double, nb::shape<-1, guidance::kSummaryNumbers>>& summary,
                 const In<std::int32_t, nb::shape<-1, 2>>& sizes, const In<std::int32_t, nb::shape<-1, 4>>& boxes,
                 std::uint32_t rows, std::uint32_t columns, double gap_px,
                 const Out<std::int32_t, nb::shape<-1, 3>>& spots) {
  const std::size_t count = summary.shape(0);
  require(sizes.shape(0) == count && spots.shape(0) == count, "sizes and spots must have one row per tube");
  require(std::isfinite(gap_px), "gap_px must be finite");
  nb::gil_scoped_release release;
  guidance::label_spots({summary.data(), count, sizes.data(), boxes.data(), boxes.shape(0), static_cast<double>(rows),
                         static_cast<double>(columns), gap_px},
                        spots.data());
}

}  // namespace

void bind_tubes(nb::module_& m) {
  m.attr("TUBE_STROKES") = guidance::kTubeStrokes;
  m.def("tube_strokes", &tube_strokes, "tubes"_a.noconvert(), "tick_depth_mm"_a.noconvert(), "tick_ends"_a.noconvert(),
        "colors"_a.noconvert(), "pixel_from_patient"_a.noconvert(), "line_width_px"_a, "scale"_a,
        "strokes"_a.noconvert(), "summary"_a.noconvert(),
        nb::sig("def tube_strokes(tubes: " F64_ARRAY ", tick_depth_mm: " F64_ARRAY ", tick_ends: " I64_ARRAY
                ", colors: " U8_ARRAY ", pixel_from_patient: " F64_ARRAY
                ", line_width_px: float, scale: float, strokes: " F32_ARRAY ", summary: " F64_ARRAY ") -> int"));
  m.def("label_spots", &label_spots, "summary"_a.noconvert(), "sizes"_a.noconvert(), "boxes"_a.noconvert(), "rows"_a,
        "columns"_a, "gap_px"_a, "spots"_a.noconvert(),
        nb::sig("def label_spots(summary: " F64_ARRAY ", sizes: " I32_ARRAY ", boxes: " I32_ARRAY
                ", rows: int, columns: int, gap_px: float, spots: " I32_ARRAY ") -> None"));
}
