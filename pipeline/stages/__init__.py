"""The stages, wired: `pipeline` has the method's own, in order; `runners` names all of them."""
