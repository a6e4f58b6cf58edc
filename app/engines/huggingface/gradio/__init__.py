"""Gradio: what an app offers (`app`), and how its functions are called (`call`)."""
