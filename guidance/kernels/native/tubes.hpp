// Planned paths on one picture: tubes as strokes, and where their labels stand; each is documented where it is defined.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace guidance {

// Entry, axis, two side vectors (unit, mm), radius and length in mm.
constexpr std::size_t kTubeNumbers = 14;
// Outline and circle at their finest, centreline, rays, diamond and cross; each depth tick comes on top.
constexpr std::size_t kMostChords = 96;
constexpr std::size_t kTubeStrokes = 2 * kMostChords + 2 + 1 + 96 + 4 + 4 + 2;

// What labels need to know of a tube, in the order of the summary's columns; all of it 0 where nothing is drawn.
struct TubeSummary {
  double drawn;
  double start_u, start_v, end_u, end_v;  // centreline, from the entry's end
  double entry_seen, target_seen;         // 0 where that end is behind the source or too near to it
  double entry_radius_px, entry_reach_px;
  double half_width_px;
  double down_the_barrel;
  double strokes;
};
constexpr std::size_t kSummaryNumbers = sizeof(TubeSummary) / sizeof(double);

struct TubePlan {
  const void* tubes;  // (count, kTubeNumbers) double
  std::size_t count;
  const void* tick_depth_mm;  // double, tube by tube
  const void* tick_ends;      // (count + 1) int64
  const std::uint8_t* colors;
};
struct TubeStyle {
  double line_width_px;
  double scale;
};
std::size_t tube_strokes(const TubePlan& plan, const std::array<double, 12>& pixel_from_patient, const TubeStyle& style,
                         void* strokes, void* summary);

struct LabelRequest {
  const void* summary;  // (count, kSummaryNumbers) double
  std::size_t count;
  const void* sizes;  // (count, 2) int32 rows, columns
  const void* boxes;  // (box_count, 4) int32 left, top, right, bottom
  std::size_t box_count;
  double rows, columns, gap_px;
};
void label_spots(const LabelRequest& request, void* spots);

}  // namespace guidance
