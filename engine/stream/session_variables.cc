#include <new>

#include "engine/stream/session.h"

// Variables of a session: a list of those that were asked for, as few are.
namespace weir::stream {
namespace {

constexpr int kVariableDepth = 100;  // variables that ask for one another

}  // namespace

Session::Cell* Session::find_cell(conf::VariableId id) {
  for (Cell* cell = cells_; cell; cell = cell->next) {
    if (cell->id == id) return cell;
  }
  return nullptr;
}

conf::Value Session::variable(conf::VariableId id) {
  if (const Cell* cell = find_cell(id)) return cell->value;
  const conf::Variable& variable = graph().variables[id];
  if (!variable.get) return conf::Value::none();
  thread_local int depth = 0;
  if (depth >= kVariableDepth) {
    log(Severity::error, "cycle while evaluating variable \"" + variable.name + "\"");
    return conf::Value::none();
  }
  ++depth;
  const conf::Value value = variable.get(*this, variable);
  --depth;
  if (!variable.cacheable) return value;
  // The getter may have assigned it (captures of a map).
  if (const Cell* cell = find_cell(id)) return cell->value;
  set_cell(id, value);
  return value;
}

void Session::set_cell(conf::VariableId id, conf::Value value) {
  if (Cell* cell = find_cell(id)) {
    cell->value = value;
    return;
  }
  cells_ = new (memory_.allocate(sizeof(Cell), alignof(Cell))) Cell{id, value, cells_};
}

void Session::set_variable(conf::VariableId id, conf::Value value) {
  const conf::Variable& variable = graph().variables[id];
  if (variable.set) {
    variable.set(*this, variable, value);
  } else {
    set_cell(id, value);
  }
}

bool Session::match(const conf::Pattern& pattern, std::string_view subject) {
  const conf::Regex::Match match = pattern.regex->match(subject);
  if (match.result == conf::Regex::Match::Result::failed) {
    log(Severity::alert, pattern.regex->failure_text(match, subject));
    return false;
  }
  if (!match) return false;
  const size_t groups = pattern.regex->group_count() == 0 ? 0 : match.groups();
  if (groups > capture_capacity_) {
    captures_ = reinterpret_cast<std::string_view*>(
        memory_.allocate(groups * sizeof(std::string_view), alignof(std::string_view)));
    capture_capacity_ = static_cast<uint16_t>(groups);
  }
  capture_count_ = static_cast<uint16_t>(groups);
  if (groups == 0) return true;
  const std::string_view text = copy(subject);
  for (size_t i = 0; i < groups; ++i) new (&captures_[i]) std::string_view(match.group(text, i));
  for (const auto& [group, variable] : pattern.named_captures) {
    set_cell(variable, conf::Value::of(capture(group)));
  }
  return true;
}

}  // namespace weir::stream
