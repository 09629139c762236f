"""RD-Noising: reverse distillation whose teacher's maps are disturbed, most where a memory asks for it."""
