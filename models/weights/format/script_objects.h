// The objects of a TorchScript archive, as data.
#pragma once

#include <map>
#include <string>

#include "models/weights/format/pickle_machine.h"

namespace wan {

/// The tensors of `object` and of all objects in its attributes, by the path of attributes that leads to them
/// (`extract.convs.0.weight`), as a state dict names them; a tensor that several paths lead to is there for each.
/// Attributes of other kinds (numbers, lists, dicts) count for nothing. Throws ModelError for objects that hold themselves,
/// for more objects, depth or length of path than a network has, and for names that are no UTF-8.
std::map<std::string, PickledTensor> tensors_of_object(const PickleMachine& machine,
                                                       const PickleMachine::Value& object);

/// A tensor's name or a part of it, which messages and JSON will show. Throws ModelError where it is no string in UTF-8.
std::string tensor_name(const PickleMachine& machine, const PickleMachine::Value& key);

}  // namespace wan
