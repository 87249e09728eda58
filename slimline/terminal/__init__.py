"""What commands share: options, results and what moves on a terminal, facts as text."""
