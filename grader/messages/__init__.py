"""Every sentence in every language, made safe to show."""
