#include "engine/residency/workload.h"

namespace wan {

Work Work::operator+(const Work& other) const {
  return {linear + other.linear, attention + other.attention, bytes + other.bytes};
}

Work Work::operator*(double times) const {
  return {linear * times, attention * times, bytes * times};
}

}  // namespace wan
