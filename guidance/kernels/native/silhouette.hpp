// Outlines of the shadows that closed surfaces throw in a cone beam; each is documented where it is defined.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace guidance {

// A surface made ready once: planes of its triangles, and its edges with the two triangles at each.
class ShadowMesh {
 public:
  ShadowMesh(const void* vertices_mm, std::size_t vertex_count, const void* triangles, std::size_t triangle_count);

  struct Edge {
    std::int32_t from, to;     // vertices, as the first triangle runs
    std::int32_t along, back;  // triangles that run so and the other way; triangle_count for none
  };

  std::size_t vertex_count, triangle_count;
  std::vector<float> vertices;
  std::vector<double> plane_x, plane_y, plane_z, plane_d;  // triangle_count + 1; the last is nobody's and 0
  std::vector<Edge> edges;
  std::array<double, 3> low{}, high{};
};

enum class OutlineState { kNothing = 0, kDrawn = 1, kTooNear = 2 };

// In the order of the summary's columns.
struct OutlineSummary {
  double state;
  double depth_mm;
  double first, count;  // strokes
  double left, top, right, bottom;
};
constexpr std::size_t kOutlineNumbers = sizeof(OutlineSummary) / sizeof(double);

struct OutlineRequest {
  std::array<double, 12> pixel_from_patient;
  double line_width_px;
  double rows, columns;
};
std::vector<float> silhouette_strokes(const std::vector<const ShadowMesh*>& meshes, const std::uint8_t* colors,
                                      const OutlineRequest& request, void* summary);

}  // namespace guidance
