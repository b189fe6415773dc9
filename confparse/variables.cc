#include "confparse/variables.h"

#include "confparse/value.h"

namespace weir::conf {

bool VariableTable::define(Variable variable) {
  variable.name = lower_case(variable.name);
  auto& index = variable.prefix ? prefix_index_ : definition_index_;
  const auto found = index.find(variable.name);
  if (found != index.end()) {
    Variable& old = definitions_[found->second];
    if (!old.changeable) return false;
    old = std::move(variable);
    return true;
  }
  const auto position = static_cast<uint32_t>(definitions_.size());
  index.emplace(variable.name, position);
  definitions_.push_back(std::move(variable));
  return true;
}

VariableId VariableTable::use(std::string_view name) {
  std::string lower = lower_case(name);
  const auto [entry, added] =
      use_index_.try_emplace(lower, static_cast<VariableId>(variables_.size()));
  if (added) variables_.emplace_back().name = std::move(lower);
  return entry->second;
}

const Variable* VariableTable::find(std::string_view name) const {
  const auto found = definition_index_.find(lower_case(name));
  return found == definition_index_.end() ? nullptr : &definitions_[found->second];
}

const Variable* VariableTable::find_prefix(std::string_view name) const {
  // Prefixes are few and short: the longest that fits wins.
  const Variable* best = nullptr;
  for (const auto& [prefix, position] : prefix_index_) {
    if (name.size() > prefix.size() && name.starts_with(prefix) &&
        (!best || prefix.size() > best->name.size())) {
      best = &definitions_[position];
    }
  }
  return best;
}

std::vector<std::string> VariableTable::finish() {
  std::vector<std::string> unknown;
  for (Variable& variable : variables_) {
    if (!resolve(variable)) unknown.push_back(variable.name);
  }
  return unknown;
}

bool VariableTable::resolve(Variable& variable) const {
  const Variable* exact = find(variable.name);
  const Variable* prefix = !exact || exact->weak ? find_prefix(variable.name) : nullptr;
  if (!exact && !prefix) return false;
  if (prefix) {
    const std::string name = std::move(variable.name);
    const auto length = static_cast<uint16_t>(prefix->name.size());
    variable = *prefix;
    variable.name = name;
    variable.prefix = false;
    variable.prefix_length = length;
    if (exact) {
      // Assigned by `set`: until that happens, its value is the prefix's.
      variable.set = exact->set;
      variable.changeable = exact->changeable;
      variable.weak = true;
    }
    return true;
  }
  variable = *exact;
  return true;
}

}  // namespace weir::conf
