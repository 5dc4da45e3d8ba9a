// A surface made ready for its shadows: planes of its triangles, and its edges with the two triangles at each.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "silhouette.hpp"
#include "tube_geometry.hpp"

namespace guidance {
namespace {

template <class T>
T at(const void* numbers, std::size_t index) {
  T number;
  std::memcpy(&number, static_cast<const std::uint8_t*>(numbers) + sizeof number * index, sizeof number);
  return number;
}

}  // namespace

// Vertices are (vertex_count, 3) float and finite, triangles (triangle_count, 3) int32 and of these vertices. Triangles
// need not make one closed surface, nor run all the same way round: the shadow is that of all of them.
ShadowMesh::ShadowMesh(const void* vertices_mm, std::size_t vertices_, const void* triangles, std::size_t triangles_)
    : vertex_count(vertices_), triangle_count(triangles_), vertices(3 * vertices_) {
  if (vertex_count > 0) std::memcpy(vertices.data(), vertices_mm, sizeof(float) * vertices.size());
  for (auto* plane : {&plane_x, &plane_y, &plane_z, &plane_d}) plane->assign(triangle_count + 1, 0.0);
  for (std::size_t axis = 0; axis < 3 && vertex_count > 0; ++axis) {
    low[axis] = high[axis] = vertices[axis];
    for (std::size_t i = 0; i < vertex_count; ++i) {
      low[axis] = std::min<double>(low[axis], vertices[3 * i + axis]);
      high[axis] = std::max<double>(high[axis], vertices[3 * i + axis]);
    }
  }
  struct Side {
    std::uint64_t ends;  // smaller vertex, larger vertex
    std::int32_t triangle;
    bool rising;  // runs from the smaller to the larger
  };
  std::vector<Side> sides;
  sides.reserve(3 * triangle_count);
  for (std::size_t t = 0; t < triangle_count; ++t) {
    std::array<std::int32_t, 3> corner;
    std::array<Vec, 3> place;
    for (std::size_t i = 0; i < 3; ++i) {
      corner[i] = at<std::int32_t>(triangles, 3 * t + i);
      const float* v = &vertices[3 * static_cast<std::size_t>(corner[i])];
      place[i] = {v[0], v[1], v[2]};
    }
    const Vec a = place[1] - place[0], b = place[2] - place[0];
    const Vec normal{a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
    plane_x[t] = normal.x;
    plane_y[t] = normal.y;
    plane_z[t] = normal.z;
    plane_d[t] = -dot(normal, place[0]);
    for (std::size_t i = 0; i < 3; ++i) {
      const auto from = static_cast<std::uint64_t>(corner[i]), to = static_cast<std::uint64_t>(corner[(i + 1) % 3]);
      if (from != to)
        sides.push_back({std::min(from, to) << 32 | std::max(from, to), static_cast<std::int32_t>(t), from < to});
    }
  }
  std::sort(sides.begin(), sides.end(), [](const Side& a, const Side& b) {
    return a.ends != b.ends ? a.ends < b.ends : a.rising != b.rising ? a.rising : a.triangle < b.triangle;
  });
  const auto nobody = static_cast<std::int32_t>(triangle_count);
  edges.reserve(sides.size() / 2 + 1);
  for (auto first = sides.cbegin(); first != sides.cend();) {
    const auto end = std::find_if(first, sides.cend(), [&](const Side& side) { return side.ends != first->ends; });
    auto falling = std::find_if(first, end, [](const Side& side) { return !side.rising; });
    const auto smaller = static_cast<std::int32_t>(first->ends >> 32);
    const auto larger = static_cast<std::int32_t>(first->ends & 0xFFFFFFFFU);
    // Each that runs one way is paired with one that runs the other; of a closed surface none is left.
    for (auto rising = first; rising != end && rising->rising; ++rising)
      edges.push_back({smaller, larger, rising->triangle, falling != end ? (falling++)->triangle : nobody});
    for (; falling != end; ++falling) edges.push_back({larger, smaller, falling->triangle, nobody});
    first = end;
  }
}

}  // namespace guidance
